//go:build linux

package load

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sources is how many client addresses there are, so that limits which hold for
// one address do not see the whole crowd as one client.
const sources = 250

// source is the address of the n-th client.
func source(n int) [4]byte { return [4]byte{127, 0, 1, byte(1 + n%sources)} }

// listen listens on a free port of loopback.
func listen() (fd int, addr string, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, "", fmt.Errorf("making a socket: %w", err)
	}
	// Without this, ports of connections that have ended are not free for a minute,
	// and a Turnstile leaves none.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(fd, 4096)
	}
	sa, nameErr := unix.Getsockname(fd)
	if in, ok := sa.(*unix.SockaddrInet4); ok && err == nil {
		return fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)).String(), nil
	}
	unix.Close(fd)
	return 0, "", fmt.Errorf("listening on loopback: %w", firstOf(err, nameErr))
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// dial connects to addr as the n-th client. On loopback connecting ends at once
// unless the listener's queue is full, so it may block.
func dial(addr netip.AddrPort, n int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("making a socket: %w", err)
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err = bindTo(fd, n); err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("dialing %v: %w", addr, err)
	}
	return fd, nil
}

// bindTo gives fd the n-th client's address. The port is chosen at the connect,
// so that one may serve towards several targets.
func bindTo(fd, n int) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	return unix.Bind(fd, &unix.SockaddrInet4{Addr: source(n)})
}
