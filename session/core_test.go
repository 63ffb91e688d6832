package session

import (
	"context"
	"time"
)

// A core is what protocols and backends use of a session. Planted faults stand
// between them and it.
type core interface {
	Send(ctx context.Context, first uint64, messages ...Message) (uint64, error)
	SendClose(ctx context.Context, number uint64, c Close) (uint64, error)
	Deliver(m Message) bool
	DeliverClose(c Close)
	Ack(last uint64) error
	Attach(wake func()) (puller, error)
	Resume(last uint64, wake func()) (puller, error)
	Replace(wake func()) (puller, error)
	Acknowledged() uint64
	End(why Reason, c Close)
	Ended() Reason
	Received() uint64
}

// A puller is a Reader, maybe with a fault.
type puller interface {
	Take(buf []Message, most int64) (Batch, error)
	Close()
}

// sound is a session without a fault.
type sound struct{ *Session }

func (s sound) Attach(wake func()) (puller, error) {
	r, err := s.Session.Attach(wake)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (s sound) Resume(last uint64, wake func()) (puller, error) {
	r, err := s.Session.Resume(last, wake)
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (s sound) Replace(wake func()) (puller, error) {
	r, err := s.Session.Replace(wake)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// tell makes an account's observer of a.
type tell struct{ *account }

func (t tell) Opened()                  { t.opened++ }
func (t tell) Attached(d time.Duration) { t.absences = append(t.absences, d) }
func (t tell) Passed(bool, int)         { t.passes++ }
func (t tell) Skipped(n int)            { t.skips += n }
func (t tell) Paused()                  { t.pauses++ }
func (t tell) Ended(why Reason, age time.Duration) {
	t.ages = append(t.ages, age)
}
