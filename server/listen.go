package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
)

// listen binds host:port or unix:/path. "no such" and "in use" come back as the
// system says them, with the address.
func listen(address string) (net.Listener, error) {
	path, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		l, err := listenTCP(address) // the error names the address
		if err != nil {
			return nil, withRemedy(err)
		}
		return l, nil
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	mine, err := os.Lstat(path)
	if err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("listening on unix socket: %w", err)
	}
	return &unixListener{Listener: l, path: path, mine: mine}, nil
}

// withRemedy says what to do where a low port may not be bound.
func withRemedy(err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	return fmt.Errorf("%w; take a port from 1024 up, or allow low ones (CAP_NET_BIND_SERVICE)", err)
}

// removeStale removes the socket that a killed process left behind. One that
// somebody answers on stays, and so does a file that is no socket.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listening on unix socket: %w", err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("listening on unix socket: %s is there and is no socket", path)
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("listening on unix socket: %s is in use by another program", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listening on unix socket: %w", err)
	}
	return os.Remove(path)
}

// A unixListener removes its file when it closes, but only its own: a successor
// may have put another in its place while this one drained.
type unixListener struct {
	net.Listener
	path string
	mine os.FileInfo
	once sync.Once
}

func (l *unixListener) Close() error {
	err := l.Listener.Close()
	l.once.Do(func() {
		if now, statErr := os.Lstat(l.path); statErr == nil && os.SameFile(now, l.mine) {
			err = errors.Join(err, os.Remove(l.path))
		}
	})
	return err
}
