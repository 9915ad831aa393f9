"""Lua in the server: scripts (EVAL) and functions (FCALL).

    sandbox     an interpreter with walls: what is written in Lua lies in `lua/`
    convert     replies ↔ Lua values
    scripts     the cache of scripts, by their digest
    functions   libraries of functions, which are kept
    running     a script at work: who called it, what it may do, when it must end; and what it may ask of the server

A script is one batch of the log, its effects and not its text: what it changes is in the open transaction until it
ends. Nothing here blocks, and no object of Python is ever in a script's hands.
"""
