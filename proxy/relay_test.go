package proxy

import (
	"strings"
	"testing"
)

func TestRelayEchoes(t *testing.T) {
	w := connect(t, setup{})
	for _, n := range []int{0, 1, 125, 126, 1 << 10, 1<<16 - 1, 1 << 16, 1 << 20} {
		text := strings.Repeat("x", n)
		go w.client.send(w.client.frame(0x80|opText, text))
		w.backend.want(0x80|opText, text)
		go w.backend.send(w.backend.frame(0x80|opBinary, text))
		w.client.want(0x80|opBinary, text)
	}
	w.client.send(w.client.frame(0x80|opClose, "\x03\xe8bye"))
	w.backend.want(0x80|opClose, "\x03\xe8bye")
	w.backend.send(w.backend.frame(0x80|opClose, "\x03\xe8bye"))
	w.client.want(0x80|opClose, "\x03\xe8bye")
	w.client.wantEnd()
	w.backend.wantEnd()
	if line := w.ended(t); !strings.Contains(line, `"cause":"client_close","code":1000,"reason":"bye"`) {
		t.Errorf("log = %s; want client_close 1000 bye", line)
	}
}
