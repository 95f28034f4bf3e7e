"""What is told of every command: examples, man pages, the reference of docs/cli.md, completions."""
