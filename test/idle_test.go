package test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

func TestIdleConnectionsAreToldOnTERM(t *testing.T) {
	t.Parallel()
	holdAndTerm(t, must(t, raced), 300, 3*time.Second, 0)
}

// As many as the hard limit of 20,000 descriptors allows, both here and there.
func TestIdle8500ConnectionsAreToldOnTERM(t *testing.T) {
	long(t)
	if raceDetector {
		t.Skip("the race detector allows 8,128 goroutines; test/run --long runs this without it")
	}
	holdAndTerm(t, must(t, released), 8500, 10*time.Second, 1536)
}

// holdAndTerm holds n idle connections through the program at path, then stops
// it: every client must get a close frame or, at worst, an orderly end, and the
// program must be gone within drain and a second. most is how many bytes each may
// take once the program has given back what the handshakes took; 0: as many as it
// likes.
func holdAndTerm(t *testing.T, path string, n int, drain time.Duration, most int64) {
	var rl syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &rl); err != nil || int(rl.Max) < 2*n+500 {
		skip(t, fmt.Sprintf("%d descriptors are too few to hold %d connections here and there (%v)", rl.Max, n, err))
	}
	backend := &crowd{}
	s := httptest.NewServer(backend)
	defer s.Close()
	p := launch(t, path, s.Listener.Addr().String(),
		fmt.Sprintf("drain: {for: %v}\nlimits: {per_address: off, handshakes_per_second: off}\nheartbeat: {interval: 20s, timeout: 10s}\n", drain))
	before := p.rss(t)
	start := time.Now()
	clients := gather(t, p.addr, n)
	held := time.Since(start)
	settled := time.NewTimer(2 * time.Second) // memory of the handshakes, and a few beats
	<-settled.C
	after := p.rss(t)
	t.Logf("%d connections opened in %v; resident %.1f MiB before, %.1f MiB after: %.2f KiB a connection, both hops",
		n, held.Round(time.Millisecond), mib(before), mib(after), float64(after-before)/1024/float64(n))
	if most > 0 {
		least := p.settle(t, before+most*int64(n))
		t.Logf("resident %.1f MiB once memory was given back: %.2f KiB a connection", mib(least), float64(least-before)/1024/float64(n))
		if least-before > most*int64(n) {
			t.Errorf("a connection takes %d bytes; want at most %d", (least-before)/int64(n), most)
		}
	}

	start = time.Now()
	p.signal(t, syscall.SIGTERM)
	if got := p.exit(t, drain+5*time.Second); got != 0 {
		t.Errorf("exit code %d; want 0", got)
	}
	took := time.Since(start)
	if took > drain+time.Second {
		t.Errorf("exited after %v; want at most %v and a second", took, drain)
	}
	ends := clients.wait()
	t.Logf("exited after %v; clients: %v; backends: %v", took.Round(time.Millisecond), ends, backend.wait())
	if told := ends["close 1001"] + ends["end of stream"]; told != n || ends["close 1001"] < n*99/100 {
		t.Errorf("of %d clients %d got a close frame and %d an orderly end", n, ends["close 1001"], ends["end of stream"])
	}
}

// settle waits until the program takes no more than most, which it should after two
// looks at its memory, and says what it takes then.
func (p *program) settle(t *testing.T, most int64) (resident int64) {
	look, late := time.NewTicker(time.Second), time.After(30*time.Second)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if resident = p.rss(t); resident <= most {
				return resident
			}
		case <-late:
			return p.rss(t)
		}
	}
}

func mib(b int64) float64 { return float64(b) / (1 << 20) }

// A crowd is connections that only wait for their end, each in its own goroutine.
type crowd struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	ends map[string]int
}

// gather opens n connections, 32 at a time.
func gather(t *testing.T, addr string, n int) *crowd {
	c := &crowd{}
	d := websocket.Dialer{HandshakeTimeout: patience, ReadBufferSize: 256, WriteBufferSize: 256}
	var dialing sync.WaitGroup
	places := make(chan struct{}, 32)
	for range n {
		places <- struct{}{}
		dialing.Go(func() {
			defer func() { <-places }()
			conn, _, err := d.Dial("ws://"+addr+"/", nil)
			if err != nil {
				t.Errorf("dialing: %v", err)
				return
			}
			c.hold(conn)
		})
	}
	dialing.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return c
}

func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{ReadBufferSize: 256, WriteBufferSize: 256, CheckOrigin: func(*http.Request) bool { return true }}
	if conn, err := up.Upgrade(w, r, nil); err == nil {
		c.hold(conn)
	}
}

func (c *crowd) hold(conn *websocket.Conn) {
	c.wg.Go(func() {
		defer conn.Close()
		_, _, err := conn.ReadMessage()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ends == nil {
			c.ends = map[string]int{}
		}
		c.ends[endOf(err)]++
	})
}

// wait waits for all of the ends, and counts them by kind.
func (c *crowd) wait() map[string]int {
	c.wg.Wait()
	return c.ends
}

// endOf names how a connection ended.
func endOf(err error) string {
	switch e := err.(type) {
	case *websocket.CloseError:
		if e.Code == websocket.CloseAbnormalClosure {
			return "end of stream"
		}
		return fmt.Sprintf("close %d", e.Code)
	case *net.OpError:
		return "reset"
	}
	if err == io.EOF || err != nil && strings.Contains(err.Error(), "EOF") {
		return "end of stream"
	}
	return fmt.Sprint(err)
}
