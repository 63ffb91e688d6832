// Package faultlink is a TCP link that fails on command. It stands between a
// client and a server and forwards bytes, and each direction can be cut, muted,
// stalled, delayed or slowed while it runs. Tests use it in place of a bad network.
package faultlink

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// A Dir is a direction of a link, or both.
type Dir uint8

const (
	Up   Dir = 1 << iota // from the client, who connects to the link
	Down                 // from the server, to whom the link connects
	Both = Up | Down
)

// An Ending is how an end learns that its connection is over.
type Ending uint8

const (
	None  Ending = iota
	Reset        // a RST: what is under way is lost, reading and writing fail
	FIN          // an orderly end of what this end reads
)

// A Fault is what one direction suffers. The zero value is a healthy link.
type Fault struct {
	// Blackhole reads and throws away, the end of the stream too: the sender
	// sees a healthy connection, the receiver silence.
	Blackhole bool
	// Stall neither reads nor forwards: the sender's buffers fill.
	Stall bool
	// Delay is added to the way of every byte. The link holds 64 KiB meanwhile.
	Delay time.Duration
	// Rate is in bytes a second. 0: as fast as it goes.
	Rate int
	// Piece is the most bytes that go on at once, each in a packet of its own as
	// far as the kernel plays along. 0: as many as there are.
	Piece int
	// Cut ends both ends of a connection once exactly After more bytes, counted
	// for each connection from Set (or from its start, if later), went this way.
	Cut   Ending
	After int64
}

// buffer bounds what each socket of the link takes in (the kernel doubles it),
// so that pressure is felt after kilobytes and not after megabytes.
const buffer = 64 << 10

// reusePort is Linux's SO_REUSEPORT, which package syscall does not name everywhere.
const reusePort = 15

// A Link forwards connections to one server. Who makes one must Close it.
type Link struct {
	to     string
	addr   string
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	ln        net.Listener // nil while refusing
	port      int          // a socket that keeps the port meanwhile; -1: none
	closed    bool
	faults    map[Dir]Fault
	changed   chan struct{} // closed and replaced when a fault or an ending is set
	pairs     map[*pair]struct{}
	forwarded map[Dir]int64
}

// Listen makes a healthy link to the server at host:port, on a port of its own
// on 127.0.0.1.
func Listen(to string) (*Link, error) {
	l := &Link{
		to: to, changed: make(chan struct{}), pairs: map[*pair]struct{}{},
		faults: map[Dir]Fault{}, forwarded: map[Dir]int64{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	err := l.reserve()
	if err == nil {
		err = l.listen()
	}
	if err != nil {
		l.cancel()
		l.giveBack()
		return nil, err
	}
	return l, nil
}

// Addr is where clients connect, as host:port.
func (l *Link) Addr() string { return l.addr }

// Set replaces the fault of the directions in d, for connections that are open
// and for those to come.
func (l *Link) Set(d Dir, f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range []Dir{Up, Down} {
		if d&one != 0 {
			l.faults[one] = f
		}
	}
	for p := range l.pairs {
		for _, w := range []*way{p.up, p.down} {
			if d&w.dir != 0 {
				w.quota = f.After
				w.interruptLocked()
			}
		}
	}
	l.tellLocked()
}

// End ends every open connection. told says who learns of it: Up the server,
// Down the client, Both each of them. An end that is not told keeps a connection
// that is open, taken from and mute after a Reset of the other; after a FIN of
// the other the opposite direction goes on.
func (l *Link) End(told Dir, how Ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		p.endLocked(told, how)
	}
	l.tellLocked()
}

// Refuse makes the operating system refuse new connections. Open ones go on.
func (l *Link) Refuse() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ln == nil {
		return nil
	}
	ln := l.ln
	l.ln = nil
	return ln.Close()
}

// Admit undoes Refuse.
func (l *Link) Admit() error {
	l.mu.Lock()
	refusing := l.ln == nil && !l.closed
	l.mu.Unlock()
	if !refusing {
		return nil
	}
	return l.listen()
}

// Forwarded is how many bytes went one way, over all connections.
func (l *Link) Forwarded(d Dir) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.forwarded[d]
}

// Open is how many connections are being forwarded.
func (l *Link) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pairs)
}

// Close ends the link and every connection, and waits for all it started. It
// may be called twice.
func (l *Link) Close() error {
	err := l.Refuse()
	l.cancel()
	l.mu.Lock()
	l.closed = true
	for p := range l.pairs {
		p.endLocked(Both, Reset)
	}
	l.mu.Unlock()
	l.wg.Wait()
	l.giveBack()
	return err
}

// reserve takes a port for good: with a socket that is bound to it and never listens,
// so that nobody else gets it while connections are refused.
func (l *Link) reserve() error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		l.port = -1
		return fmt.Errorf("reserving a port: %w", err)
	}
	l.port = fd
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, reusePort, 1); err != nil {
		return fmt.Errorf("reserving a port: %w", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("reserving a port: %w", err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("reserving a port: %w", err)
	}
	l.addr = fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port)
	return nil
}

func (l *Link) giveBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.port >= 0 {
		syscall.Close(l.port)
		l.port = -1
	}
}

func (l *Link) listen() error {
	small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		// Before listen, so that accepted sockets inherit it and the window
		// offered in the handshake is small already.
		return c.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, buffer)
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1) // beside the one that keeps the port
		})
	}}
	ln, err := small.Listen(l.ctx, "tcp", l.addr)
	if err != nil {
		return fmt.Errorf("opening the link: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ln = ln
	l.wg.Go(func() { l.accept(ln) })
	return nil
}

func (l *Link) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.serve(c.(*net.TCPConn)) })
	}
}

// serve forwards one connection until both of its directions have ended.
func (l *Link) serve(client *net.TCPConn) {
	var d net.Dialer
	c, err := d.DialContext(l.ctx, "tcp", l.to)
	if err != nil {
		reset(client)
		return
	}
	p := l.admit(client, c.(*net.TCPConn))
	if p == nil {
		reset(client)
		c.Close()
		return
	}
	p.run()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pairs, p)
}

// admit counts a connection, or returns nil where the link has been closed.
func (l *Link) admit(client, server *net.TCPConn) *pair {
	server.SetReadBuffer(buffer)
	for _, c := range []*net.TCPConn{client, server} {
		c.SetWriteBuffer(buffer)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	p := newPair(l, client, server)
	l.pairs[p] = struct{}{}
	return p
}

// tellLocked wakes everybody who waits under the faults of before.
func (l *Link) tellLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}
