"""`python -m xml_pipeline.cli`."""

import sys

from xml_pipeline.cli import main

sys.exit(main())
