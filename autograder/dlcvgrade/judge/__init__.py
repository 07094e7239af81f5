"""The judge: student code runs in a sandboxed worker; inputs, references and comparison stay outside.

Nothing is imported here: the command line loads ``judge.command`` without waiting for torch.
"""
