"""The recipe's command. A module of its own, so that the processes which draw import no torch."""

if __name__ == "__main__":
    from .train import main

    main()
