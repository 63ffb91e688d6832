package session

import "context"

// planted is what a session could do wrong, done to a session that does not.
func planted() []fault {
	return append(plantedUp(), append(plantedDown(), plantedAround()...)...)
}

func plantedUp() []fault {
	return []fault{
		behind("a message up is dropped", 5, func(b *badBackend) {
			b.write = func(Backend, Message) error { return nil }
		}),
		behind("a message up is doubled", 5, func(b *badBackend) {
			b.write = func(in Backend, m Message) error { in.Write(m); return in.Write(m) }
		}),
		behind("two messages up are swapped", 1, func(b *badBackend) {
			var held *Message
			b.write = func(in Backend, m Message) error {
				if b.calls == 4 {
					held = &m
					return nil
				}
				err := in.Write(m)
				if held != nil {
					in.Write(*held)
					held = nil
				}
				return err
			}
		}),
		behind("a message up is changed", 5, func(b *badBackend) {
			b.write = func(in Backend, m Message) error { return in.Write(flip(m)) }
		}),
		behind("a failed write is not told", 1, func(b *badBackend) {
			b.write = func(in Backend, m Message) error { in.Write(m); return nil }
		}),
		before("a message is acknowledged before it is written", 4, func(b *bad) {
			b.send = func(c core, first uint64, all []Message) (uint64, error) {
				n, err := c.Send(context.Background(), first, all...)
				return n + 1, err
			}
		}),
		before("what lies beyond a gap is passed on", 1, func(b *bad) {
			b.send = func(c core, first uint64, all []Message) (uint64, error) {
				if first > c.Received()+1 {
					first = 0
				}
				return c.Send(context.Background(), first, all...)
			}
		}),
		before("what came before is passed on again", 1, func(b *bad) {
			b.send = func(c core, first uint64, all []Message) (uint64, error) {
				if first != 0 && first <= c.Received() {
					first = 0
				}
				return c.Send(context.Background(), first, all...)
			}
		}),
		before("the client's close is not passed on", 1, func(b *bad) {
			b.sendClose = func(c core, n uint64, x Close) (uint64, error) { return c.Received(), nil }
		}),
		before("the client's close is passed on twice", 1, func(b *bad) {
			b.sendClose = func(c core, n uint64, x Close) (uint64, error) {
				c.End(Left, x)
				return c.SendClose(context.Background(), n, x)
			}
		}),
		behind("the backend is not closed", 1, func(b *badBackend) { b.close = func(Backend, Close) {} }),
		behind("the backend is not told of room", 1, func(b *badBackend) { b.room = func(Backend) {} }),
		behind("the backend is told twice of room", 1, func(b *badBackend) { b.room = func(in Backend) { in.Room(); in.Room() } }),
	}
}

func plantedDown() []fault {
	return []fault{
		before("a message down is dropped", 5, func(b *bad) { b.deliver = func(core, Message) bool { return true } }),
		before("a message down is doubled", 5, func(b *bad) {
			b.deliver = func(c core, m Message) bool { c.Deliver(m); return c.Deliver(m) }
		}),
		before("two messages down are swapped", 1, func(b *bad) {
			var held *Message
			b.deliver = func(c core, m Message) bool {
				if b.calls == 3 {
					held = &m
					return true
				}
				room := c.Deliver(m)
				if held != nil {
					room, held = c.Deliver(*held), nil
				}
				return room
			}
		}),
		before("a message down is changed", 5, func(b *bad) { b.deliver = func(c core, m Message) bool { return c.Deliver(flip(m)) } }),
		before("a full log reports room", 1, func(b *bad) {
			b.deliver = func(c core, m Message) bool { c.Deliver(m); return true }
		}),
		before("the backend's close is forgotten", 1, func(b *bad) { b.deliverClose = func(core, Close) {} }),
		before("the backend's close overtakes the last message", 1, func(b *bad) {
			b.take = func(p puller, buf []Message, most int64) (Batch, error) {
				x, err := p.Take(buf, most)
				if x.Close != nil && len(x.Messages) > 0 {
					x.Messages = x.Messages[:len(x.Messages)-1]
				}
				return x, err
			}
		}),
		before("what is acknowledged is kept", 2, func(b *bad) { b.ack = func(core, uint64) error { return nil } }),
		before("what is taken is forgotten", 1, func(b *bad) {
			b.take = func(p puller, buf []Message, most int64) (Batch, error) {
				x, err := p.Take(buf, most)
				if err == nil {
					b.core.Ack(x.Last())
				}
				return x, err
			}
		}),
		before("a number that was not sent is accepted", 1, func(b *bad) {
			b.ack = func(c core, n uint64) error { c.Ack(n); return nil }
		}),
		before("a batch is taken twice", 4, func(b *bad) {
			b.take = func(p puller, buf []Message, most int64) (Batch, error) {
				x, err := p.Take(buf, most)
				x.Messages = append(x.Messages, x.Messages...)
				return x, err
			}
		}),
		before("a batch is larger than asked for", 1, func(b *bad) {
			b.take = func(p puller, buf []Message, _ int64) (Batch, error) { return p.Take(buf, 1<<40) }
		}),
	}
}

func plantedAround() []fault {
	return []fault{
		before("a wake is forgotten", 3, func(b *bad) { b.wake = func(func()) {} }),
		before("a wake comes for nothing", 1, func(b *bad) { b.wake = func(wake func()) { wake(); wake() } }),
		before("a reader starts one too far", 1, func(b *bad) {
			b.resume = func(c core, n uint64, wake func()) (puller, error) {
				if p, err := c.Resume(n+1, wake); err == nil {
					return p, nil
				}
				return c.Resume(n, wake)
			}
		}),
		before("a reader starts one too early", 1, func(b *bad) {
			b.resume = func(c core, n uint64, wake func()) (puller, error) {
				if p, err := c.Resume(n-1, wake); n > 0 && err == nil {
					return p, nil
				}
				return c.Resume(n, wake)
			}
		}),
		before("a second reader is let in", 1, func(b *bad) {
			b.attach = func(c core, wake func()) (puller, error) { return c.Replace(wake) }
		}),
		before("a carrier that was replaced reads on", 1, func(b *bad) {
			b.take = func(p puller, buf []Message, most int64) (Batch, error) {
				x, err := p.Take(buf, most)
				if err == ErrReplaced {
					err = nil
				}
				return x, err
			}
		}),
		before("the end is not told to a carrier", 1, func(b *bad) {
			b.take = func(p puller, buf []Message, most int64) (Batch, error) {
				x, err := p.Take(buf, most)
				if err == ErrEnded {
					err = nil
				}
				return x, err
			}
		}),
		before("a carrier's leaving is not seen", 1, func(b *bad) { b.leave = func(puller) {} }),
		before("the end does not come", 1, func(b *bad) { b.end = func(core, Reason, Close) {} }),
		before("the end has another reason", 1, func(b *bad) {
			b.end = func(c core, _ Reason, x Close) { c.End(Broken, x) }
		}),
	}
}
