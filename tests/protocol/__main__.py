"""Write the golden files anew, after a deliberate change of the protocol: `python -m tests.protocol`."""

from tests.protocol import golden

if __name__ == "__main__":
    golden.write()
