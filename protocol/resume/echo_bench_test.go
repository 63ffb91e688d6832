package resume

import (
	"testing"

	"sidecar/protocol/resume/wire"
)

// BenchmarkEcho is a message there and one back, all peers in this process.
func BenchmarkEcho(b *testing.B) {
	for _, kind := range []wire.Kind{wire.WebSocket, wire.Poll} {
		b.Run(string(kind), func(b *testing.B) {
			b.ReportAllocs()
			r := newRig(b, func(r *rig) { r.back.echo = true })
			c := r.raw()
			if kind == wire.Poll {
				c.poll()
				n := uint64(0)
				for b.Loop() {
					n++
					frames := c.ask(wire.Poll, append(c.next(1), text(n, "hello")...))
					for len(frames) < 2 {
						frames = c.ask(wire.Poll, c.next(1))
					}
					c.got.Received = n
				}
				return
			}
			l := c.websocket()
			n := uint64(0)
			for b.Loop() {
				n++
				l.send(ack(n-1), text(n, "hello"))
				for f := l.frame(); f.Type != wire.TypeData; {
					f = l.frame()
				}
			}
		})
	}
}
