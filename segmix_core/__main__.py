"""`python -m segmix_core`, the same as `segmix`."""

import sys

from segmix_core.cli import main

sys.exit(main())
