"""Function words of languages, by which the language of a sentence is recognized.

The words are among the most frequent of each language and carry no topic. Words that two of these languages share speak for
neither.
"""

from collections import Counter

_WORDS = {
    "English": "the and of to in is that it was for with as this but are not have be you from they which there been were would "
    "what when will their has had its about who than them these only because i my your we he she",
    "German": "der die das und ist nicht ein eine einen mit von zu auf für dem den des sich auch es wie aber oder wenn nur noch "
    "nach wird sind war hat ich wir sie bei aus zum zur über dass kein sehr",
    "French": "le la les des et est une pas que qui dans pour sur avec ce cette il elle nous vous ne plus mais ou son sa ses au "
    "aux du été être très comme fait sont je leur",
    "Spanish": "el los las una y es que en por con para no se su lo como más pero este esta son muy ya todo cuando sin sobre "
    "también hay fue ser ha del al porque desde",
    "Italian": "il lo gli una è che di per con non si sono della delle dei nel nella anche come più ma questo questa molto "
    "quando dal alla sono era ha le ai cui perché",
    "Portuguese": "o os as um uma é que em para com não se por mais mas como foi ao dos das na no seu sua muito já também são "
    "pelo pela isso este essa ele ela quando você",
    "Dutch": "de het een en van is dat niet op te zijn voor met die aan er maar om ook als bij dan nog naar uit wel geen deze "
    "werd wordt heeft hij zij wij ik je",
    "Swedish": "och att det som en är på av för inte med den till ett om har de var jag men han hon så från när kan ska blir "
    "också mycket eller vara",
    "Polish": "i w na nie się jest że z do to jak ale po co tak za od są przez dla już tylko czy był była może bardzo tego jej "
    "jego ten ta",
    "Turkish": "ve bir bu için çok ile da de ne gibi daha ama olarak olan var en kadar sonra ben sen değil diye her mi ki",
    "Indonesian": "yang dan di ini itu dengan untuk tidak dari dalam akan pada juga saya ke karena ada bisa sudah lebih atau "
    "oleh mereka kami",
}

_COUNTS = Counter(word for words in _WORDS.values() for word in set(words.split()))

FUNCTION_WORDS = {
    language: frozenset(word for word in words.split() if _COUNTS[word] == 1) for language, words in _WORDS.items()
}
"""Mapping from the name of a language to its words."""
