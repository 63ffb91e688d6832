package certs

import (
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

// deaf is an address where nobody answers who dials: what waits there to be accepted
// is as much as may.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("whoever dials is answered")
	return ""
}

// Nor does who cannot be reached at all: the kernel would go on for two minutes.
func TestSilenceBeforeTCP(t *testing.T) {
	address := deaf(t)
	before := running()
	g := newGate(t.Context(), OnDemand{Ask: "http://" + address}, func(string) {})
	defer g.close()
	if err := g.judge(t.Context(), "a.example"); err == nil {
		t.Error("it is allowed")
	}
	eventually(t, "the end of what is left", func() bool { return len(ours(before)) == 0 })
}
