"""What every head of a model looks at while it reads a prompt: the same as `mini-nanochat attention`.

python tools/visualizer/show_attention.py --checkpoint MODEL --prompt "The cat sat on the" --layer 2 --head 0
"""

import sys

from mini_nanochat.course.attention import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
