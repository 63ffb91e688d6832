package proxy

import (
	"io"
	"net"
	"testing"
)

type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }

type counter struct {
	wrapper
	left io.Closer
}

func (c counter) Vacate() io.Closer { return c.left }

type leaver struct{ io.Closer }

// What stays of a connection whose socket was taken is what somebody counts, and
// nothing of what it was wrapped in.
func TestVacate(t *testing.T) {
	socket, _ := tcpPair(t)
	token := &leaver{}
	for _, c := range []struct {
		conn net.Conn
		want io.Closer
	}{
		{socket, nil},
		{counter{wrapper{socket}, token}, token},
		{wrapper{counter{wrapper{socket}, token}}, token},
		{wrapper{socket}, wrapper{socket}}, // who knows what it does in Close
	} {
		if got := vacate(c.conn); got != c.want {
			t.Errorf("vacate(%T) = %v; want %v", c.conn, got, c.want)
		}
	}
}
