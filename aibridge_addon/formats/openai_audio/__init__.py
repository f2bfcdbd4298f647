"""OpenAI's APIs for audio. Sans-io.

`transcriptions` covers `POST /audio/transcriptions` and `/audio/translations`, which are forms;
`speech` covers `POST /audio/speech`, whose response is audio.
"""

from aibridge_addon.formats.openai_audio.speech import OpenAISpeech
from aibridge_addon.formats.openai_audio.transcriptions import OpenAITranscriptions

TRANSCRIPTIONS = OpenAITranscriptions()
SPEECH = OpenAISpeech()
