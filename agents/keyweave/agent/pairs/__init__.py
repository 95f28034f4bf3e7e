"""What a node does with its quantum memories: pairs are kept, purified, swapped, and handed on."""
