"""Lines in the format of fastText: `__label__sauce __label__cheese How much does potato starch affect a sauce?`.

Takes a text, returns the labels and the text of each line.
"""

PREFIX = "__label__"
_SAMPLE = 50


def is_format(text: str) -> bool:
    """Whether most of the first lines of a text begin with a label.

    Args:
        text: str; the beginning of a file is enough.

    Returns:
        bool.

    Example:
        >>> is_format("__label__pos a fine film")
        True
    """
    lines = [line for line in text.split("\n") if line.strip()][:_SAMPLE]
    return sum(line.lstrip().startswith(PREFIX) for line in lines) > len(lines) / 2


def parsed(line: str) -> tuple[list[str], str]:
    """Separates the labels of a line from its text.

    Args:
        line: str.

    Returns:
        tuple of the labels, list of str, and the text; a comma between them, as in fastText's own examples, is dropped.

    Example:
        >>> parsed("__label__4 , wall st. bears")
        (['4'], 'wall st. bears')
    """
    labels, words = [], []
    for word in line.split():
        if word.startswith(PREFIX) and len(word) > len(PREFIX):
            labels.append(word[len(PREFIX) :].rstrip(","))
        elif words or word != ",":
            words.append(word)
    return labels, " ".join(words)
