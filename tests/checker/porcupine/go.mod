// The second opinion on histories: Porcupine, with a model of its own.
module kvcluster.io/tests/checker/porcupine

go 1.26.0

require github.com/anishathalye/porcupine v1.3.1
