package server

import (
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A container without the right to low ports is told what to do.
func TestAPortThatMayNotBeBoundHasARemedy(t *testing.T) {
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start"); err != nil || strings.TrimSpace(string(b)) != "1024" {
		t.Skipf("low ports are free for all here: %s %v", b, err)
	}
	got := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with what was taken from it
		if err := dropCapabilities(); err != nil {
			got <- err
			return
		}
		l, err := listen("127.0.0.1:1")
		if err == nil {
			_ = l.Close()
		}
		got <- err
	}()
	const want = "listen tcp 127.0.0.1:1: bind: permission denied; take a port from 1024 up, or allow low ones (CAP_NET_BIND_SERVICE)"
	if err := <-got; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// dropCapabilities takes all capabilities from this thread alone.
func dropCapabilities() error {
	var none [2]unix.CapUserData
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
}
