import sys

from radlib.run import warm

# Other commands are faster alone: a study of which nothing is missing never starts the fork server.
code = warm.forwarded("radlib.run", sys.argv[1:]) if "notebook" in sys.argv[1:2] else None
if code is None:
    from radlib.run.commands import main

    code = main()
sys.exit(code)
