package engineio

import (
	"testing"
	"unsafe"
)

// TestEnginesAreSmall: there is one for each session, and most of them idle.
func TestEnginesAreSmall(t *testing.T) {
	const most = 512
	if got := unsafe.Sizeof(engine{}) + unsafe.Sizeof(socket{}); got > most {
		t.Errorf("an engine and its socket take %d bytes; want at most %d", got, most)
	}
}
