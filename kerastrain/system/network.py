"""Whether a server answers, so that a machine without a network fails at once instead of after minutes of retries.

Takes addresses; returns a bool. Must not download anything.
"""

import urllib.error
import urllib.request

_SECONDS = 5.0


def reachable(*addresses: str) -> bool:
    """Whether any of some servers answers, through the proxies of the environment.

    Args:
        *addresses: str, such as "https://huggingface.co", asked in this order.

    Returns:
        bool, True also for an answer that is an error.
    """
    return any(map(_answers, addresses))


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_SECONDS).close()
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True
