package server

import (
	"net"
	"syscall"
	"testing"
)

// A client's socket has the same keep-alive as package net would give it.
func TestClientsAreKeptAlive(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ours, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	want, got := aliveOptions(t, plain), aliveOptions(t, ours)
	if got != want || got[0] != 1 {
		t.Errorf("SO_KEEPALIVE, idle, interval, count, TCP_NODELAY = %v; want %v, the first of them 1", got, want)
	}
}

// aliveOptions accepts one connection from l and asks what is set for it.
func aliveOptions(t *testing.T, l net.Listener) (values [5]int) {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	raw, err := accepted.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		for i, o := range [][2]int{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}, {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT}, {syscall.IPPROTO_TCP, syscall.TCP_NODELAY},
		} {
			if values[i], err = syscall.GetsockoptInt(int(fd), o[0], o[1]); err != nil {
				t.Errorf("option %v: %v", o, err)
			}
		}
	})
	return values
}
