package server

import (
	"context"
	"net"
	"syscall"
)

// listenTCP sets what keeps connections alive on the listener, from which Linux
// hands it on: four calls once instead of for each client. The values are those
// that package net uses. A listener that will not have them (Multipath TCP, on old
// kernels) leaves them to be set for each client.
func listenTCP(address string) (net.Listener, error) {
	refused := false
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) (err error) {
		if ctl := c.Control(func(fd uintptr) { err = keepAlive(int(fd)) }); ctl != nil {
			return ctl
		}
		refused = err != nil
		return err
	}}
	l, err := lc.Listen(context.Background(), "tcp", address)
	if refused {
		return net.Listen("tcp", address)
	}
	return l, err
}

func keepAlive(fd int) error {
	for _, o := range [][3]int{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 15},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, 15},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, 9},
	} {
		if err := syscall.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return err
		}
	}
	return nil
}
