import sys

from radlib.run import warm

code = warm.forwarded("radlib.run", sys.argv[1:])
if code is None:
    from radlib.run.commands import main

    code = main()
sys.exit(code)
