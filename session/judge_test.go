package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// A judge stands between a session, with its fault if it has one, and those who
// use it, many at once, and looks for broken promises. What became of messages is
// for package history to say. Where all goroutines wait, inspect says what should
// have been called.
type judge struct {
	trial *trial
	core  core
	set   *Settings
	inner Backend

	seating sync.Mutex // readers come one after the other

	mu        sync.Mutex
	delivered []int64 // sizes
	closed    bool    // DeliverClose was called
	acked     uint64
	written   uint64 // what the backend has, or is about to have of a close
	hungUp    time.Time
	writing   bool
	seat      *chair
	heard     time.Time
	falses    int // of Deliver
	rooms     int
	ended     Reason
	endedAt   time.Time
}

// A chair is a puller that a judge watches.
type chair struct {
	judge *judge
	puller
	last  uint64
	empty bool // the last Take found nothing
	woken bool // since that Take began
}

func (j *judge) wrong(format string, a ...any) { j.trial.wrong(format, a...) }

func (j *judge) hear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.seat == nil || j.closed {
		j.heard = time.Now()
	}
}

func (j *judge) received(n uint64) uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n > j.written {
		j.wrong("message %d is acknowledged, and the backend has %d", n, j.written)
	}
	return n
}

func (j *judge) Send(ctx context.Context, first uint64, all ...Message) (uint64, error) {
	j.hear()
	n, err := j.core.Send(ctx, first, all...)
	return j.received(n), err
}

func (j *judge) SendClose(ctx context.Context, n uint64, c Close) (uint64, error) {
	j.hear()
	n, err := j.core.SendClose(ctx, n, c)
	return j.received(n), err
}

func (j *judge) Received() uint64 { return j.received(j.core.Received()) }
func (j *judge) Ended() Reason    { return j.core.Ended() }

func (j *judge) End(why Reason, c Close) {
	j.core.End(why, c)
	if j.core.Ended() == 0 {
		j.wrong("it lives on after End")
	}
}

// size is what it may hold at the least: acks that have begun are counted.
func (j *judge) size() (size int64) {
	for _, n := range j.delivered[min(int(j.acked), len(j.delivered)):] {
		size += n
	}
	return size
}

func (j *judge) Deliver(m Message) bool {
	j.mu.Lock()
	if !j.closed && j.ended == 0 {
		j.delivered = append(j.delivered, int64(len(m.Data))+64)
	}
	j.mu.Unlock()
	room := j.core.Deliver(m)
	live := j.core.Ended() == 0
	j.mu.Lock()
	defer j.mu.Unlock()
	if !room {
		j.falses++
	} else if live && j.set.Overflow == "pause" && j.size() >= j.set.Window {
		j.wrong("there is room where %d bytes are held", j.size())
	}
	return room
}

func (j *judge) DeliverClose(c Close) {
	j.mu.Lock()
	j.closed = true
	if j.seat != nil {
		j.heard = time.Now()
	}
	j.mu.Unlock()
	j.core.DeliverClose(c)
}

func (j *judge) acknowledge(last uint64) {
	j.hear()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acked = max(j.acked, last)
}

func (j *judge) Ack(last uint64) error {
	j.acknowledge(last)
	return j.core.Ack(last)
}

func (j *judge) Attach(wake func()) (puller, error) {
	return j.sit(wake, func(wake func()) (puller, error) {
		r, err := j.core.Attach(wake)
		j.mu.Lock()
		defer j.mu.Unlock()
		if err == nil && j.seat != nil {
			j.wrong("there are two readers")
		}
		return r, err
	})
}

func (j *judge) Resume(last uint64, wake func()) (puller, error) {
	j.acknowledge(last)
	return j.sit(wake, func(wake func()) (puller, error) { return j.core.Resume(last, wake) })
}

func (j *judge) Replace(wake func()) (puller, error) { return j.sit(wake, j.core.Replace) }

func (j *judge) Acknowledged() uint64 { return j.core.Acknowledged() }

func (j *judge) sit(wake func(), begin func(func()) (puller, error)) (puller, error) {
	j.seating.Lock()
	defer j.seating.Unlock()
	j.hear()
	c := &chair{judge: j}
	r, err := begin(func() { c.wake(); wake() })
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	c.puller, c.last, j.seat, j.heard = r, j.acked, c, time.Now()
	return c, nil
}

func (c *chair) wake() {
	j := c.judge
	j.mu.Lock()
	defer j.mu.Unlock()
	c.woken = true
	if j.ended != 0 && time.Now().After(j.endedAt) {
		j.wrong("a carrier is woken after the end")
	}
}

func (c *chair) Take(buf []Message, most int64) (Batch, error) {
	j := c.judge
	j.mu.Lock()
	c.woken = false
	replaced := j.seat != c
	j.mu.Unlock()
	over := j.core.Ended() != 0
	b, err := c.puller.Take(buf, most)
	switch {
	case err == nil && over:
		j.wrong("something can be taken after the end")
	case err == nil && replaced:
		j.wrong("a carrier that was replaced may read on")
	case err != nil && !errors.Is(err, ErrEnded) && !errors.Is(err, ErrReplaced):
		j.wrong("Take = %v", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if c.empty = err == nil && len(b.Messages) == 0 && b.Close == nil; err == nil {
		c.last = b.Last()
	}
	return b, err
}

func (c *chair) Close() {
	j := c.judge
	j.mu.Lock()
	if j.seat == c {
		j.seat, j.heard = nil, time.Now()
	}
	j.mu.Unlock()
	c.puller.Close()
}

// finished is Opening.Ended.
func (j *judge) finished(why Reason) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended != 0 {
		j.wrong("it ended twice")
	}
	j.ended, j.endedAt = why, time.Now()
	if why == Expired && (j.seat != nil && !j.closed || time.Since(j.heard) < j.set.TTL) {
		j.wrong("it expired %v after its client was heard of", time.Since(j.heard))
	}
}

// inspect is called where all wait. It returns what the session should hold.
func (j *judge) inspect() int64 {
	over := j.core.Ended() != 0
	j.mu.Lock()
	defer j.mu.Unlock()
	if over != (j.ended != 0) {
		j.wrong("Ended says %v", over)
	}
	if n := len(j.delivered); !over && j.seat != nil && j.seat.empty && !j.seat.woken {
		if last := int(max(j.seat.last, j.acked)); last < n || last == n && j.closed {
			j.wrong("a carrier sleeps behind message %d of %d, close %v", last, n, j.closed)
		}
	}
	if j.rooms > j.falses {
		j.wrong("Room was called %d times for %d pauses", j.rooms, j.falses)
	}
	if free := j.trial.all.Memory == 0 && j.size() < j.set.Window; j.falses > j.rooms && (over || j.size() == 0 || free) {
		j.wrong("the backend waits for room where %d bytes are held", j.size())
	}
	if over {
		return 0
	}
	if (j.seat == nil || j.closed) && time.Since(j.heard) > j.set.TTL {
		j.wrong("it lives %v after its client was heard of", time.Since(j.heard))
	}
	return perSession + j.size()
}

// desk is the judge as the session's Backend.
type desk struct{ *judge }

func (d desk) Write(m Message) error {
	d.mu.Lock()
	if d.writing {
		d.wrong("two write at once")
	}
	if !d.hungUp.IsZero() && time.Now().After(d.hungUp) {
		d.wrong("a message is written behind the close")
	}
	d.writing = true
	d.mu.Unlock()
	err := d.inner.Write(m)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writing = false
	if err == nil {
		d.written++
	}
	return err
}

func (d desk) Close(c Close) {
	d.mu.Lock()
	if d.hungUp.IsZero() {
		d.hungUp = time.Now()
		d.written++
	}
	d.mu.Unlock()
	d.inner.Close(c)
}

func (d desk) Room() {
	d.mu.Lock()
	d.rooms++
	d.mu.Unlock()
	d.inner.Room()
}
