"""Generate the Python code beside the .proto files; `--check` fails when what is checked in differs.

The generator is pinned (requirements.txt beside this) to the oldest grpcio that Keyweave supports: newer
runtimes accept its code, older ones refuse a newer generator's. `make proto` runs it.
"""

import argparse
import filecmp
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
THIRD_PARTY = HERE / "third_party"


def generate(out: Path) -> list[Path]:
    """Write the generated files below `out` and return them, relative to it."""
    includes = [f"-I{HERE}", f"-I{THIRD_PARTY}", f"-I{Path(grpc_tools.__file__).parent / '_proto'}"]
    keyweave = sorted(str(p.relative_to(HERE)) for p in (HERE / "keyweave").rglob("*.proto"))
    plugins = [f"--python_out={out}", f"--pyi_out={out}"]
    stubs = f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}"
    for arguments in (
        [stubs, *plugins, f"--grpc_python_out={out}", f"--mypy_grpc_out={out}", *keyweave],
        [f"--python_out={out}", f"--pyi_out={out}", "buf/validate/validate.proto"],
    ):
        if protoc.main(["protoc", *includes, *arguments]) != 0:
            sys.exit("protoc failed")
    return sorted(p.relative_to(out) for p in out.rglob("*_pb2*.py*"))


def destination(generated: Path) -> Path:
    """Where a generated file belongs in the source tree."""
    root = THIRD_PARTY if generated.parts[0] == "buf" else HERE
    return root / generated


def main() -> None:
    """Generate or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail on differences")
    check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory)
        drifted = []
        for path in generate(out):
            target = destination(path)
            same = target.exists() and filecmp.cmp(out / path, target, shallow=False)
            if not same:
                drifted.append(str(target.relative_to(HERE)))
                if not check:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes((out / path).read_bytes())
    if check and drifted:
        sys.exit(f"generated code differs from the .proto files: {', '.join(drifted)}; run 'make proto'")
    sys.stdout.write(f"{'checked' if check else 'generated'}; {len(drifted)} file(s) changed\n")


if __name__ == "__main__":
    main()
