package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// maxUnsent is what the kernel may hold for an end beyond what is in flight to
// it. Left alone it takes megabytes for a client that stops reading, and the
// sender learns of it that much later. A fixed send buffer would bound it too,
// but also the speed of long links. We hear of progress in steps of half of this:
// at minRate each must take less than Limits.WriteTimeout.
const maxUnsent = 16 << 10

func limitUnsent(raw syscall.RawConn) {
	raw.Control(func(fd uintptr) {
		// Fails on unix sockets, whose buffers are small anyway.
		unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent)
	})
}

// allArrived reports whether the other end's kernel has all that was sent, or on a unix
// socket the other end itself.
func allArrived(raw syscall.RawConn) bool {
	n, err := 0, error(nil)
	lost := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return lost == nil && err == nil && n == 0
}
