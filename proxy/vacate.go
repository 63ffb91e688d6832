package proxy

import (
	"io"
	"net"
)

// A vacant connection counts or names the socket beneath it, and can say what must
// still be closed when that socket, taken out of it, is.
type vacant interface{ Vacate() io.Closer }

// vacate is what must be closed after the socket that was taken out of c has been,
// nil if nothing must. Kept in place of c it lets c go, with the addresses and all
// else that Go keeps of an open connection: 300 bytes that only cost.
func vacate(c net.Conn) io.Closer {
	for at := c; ; {
		if v, ok := at.(vacant); ok {
			return v.Vacate()
		}
		w, ok := at.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		at = w.NetConn()
	}
	if socketOf(c) == c {
		return nil
	}
	return c
}
