"""`python -m wellfed`, the form that launchers such as torchrun need."""

from wellfed._cli import main

if __name__ == "__main__":
    main()
