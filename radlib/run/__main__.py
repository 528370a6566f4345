import sys

from radlib.run.commands import main

sys.exit(main())
