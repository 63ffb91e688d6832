package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"
)

const (
	// stapleLife is what a certificate must last for its responder to be asked: one
	// that ends sooner needs no revocation.
	stapleLife = 7 * 24 * time.Hour
	// maxAsking bounds the questions at once; more wait.
	maxAsking = 4
	// A question that failed is asked again after retryFirst, and then twice as long
	// each time up to retryMost. No answer is asked for again sooner than retryFirst.
	retryFirst = time.Minute
	retryMost  = time.Hour
)

// A staple is what is known of the OCSP response to one certificate in hot, whose lock
// is for what changes. It ends with that certificate: whoever comes back with an answer
// finds another in its place, or none.
type staple struct {
	leaf   *x509.Certificate
	issuer []byte
	url    string

	asking   bool      // a question is under way
	ask      time.Time // no question before
	end      time.Time // of the response that is stapled; zero: none is
	failures int       // since an answer
	revoked  bool
}

// newStaple is nil for a certificate that there is nobody to ask about.
func newStaple(c *tls.Certificate) *staple {
	if c.Leaf == nil || len(c.Certificate) < 2 || c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) < stapleLife {
		return nil
	}
	i := slices.IndexFunc(c.Leaf.OCSPServer, func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
	})
	if i < 0 {
		return nil
	}
	return &staple{leaf: c.Leaf, issuer: c.Certificate[1], url: c.Leaf.OCSPServer[i]}
}

// A stapler keeps the staples of hot. Nothing waits for it, and nothing of it is kept
// in storage: a start asks anew.
type stapler struct {
	hot    *hot
	log    *slog.Logger
	client *http.Client
	lines  *ration // one responder may fail for thousands of names
	free   chan struct{}
	asking sync.WaitGroup
}

func newStapler(h *hot, log *slog.Logger, client *http.Client) *stapler {
	return &stapler{hot: h, log: log, client: client, lines: newRation(), free: make(chan struct{}, maxAsking)}
}

// run goes on until ctx is done, and waits for its questions.
func (s *stapler) run(ctx context.Context) {
	defer s.asking.Wait()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.hot.changed:
		case <-ctx.Done():
			return
		}
		t.Reset(s.turn(ctx))
	}
}

// turn takes away the responses that are over, asks for those that are due, and returns
// when to look again: each minute at least, for clocks that are set.
func (s *stapler) turn(ctx context.Context) time.Duration {
	var over []string
	now, wait := time.Now(), time.Minute
	s.hot.mu.Lock()
	for name, st := range s.hot.staples {
		if !st.end.IsZero() && !now.Before(st.end) {
			s.hot.attach(name, st, nil, time.Time{})
			over = append(over, name)
			if soon := now.Add(retryFirst); st.failures == 0 && soon.Before(st.ask) {
				st.ask = soon // the clock jumped, by which ask is not reckoned
			}
		}
		if !st.end.IsZero() {
			wait = min(wait, st.end.Sub(now))
		}
		switch {
		case st.asking || !now.Before(st.leaf.NotAfter):
		case now.Before(st.ask):
			wait = min(wait, st.ask.Sub(now))
		case len(s.free) < cap(s.free): // only turn takes, so that this is sure not to wait
			s.free <- struct{}{}
			st.asking = true
			s.asking.Go(func() { s.refresh(ctx, name, st) })
		}
	}
	s.hot.mu.Unlock()
	for _, name := range over {
		s.say(slog.LevelWarn, "the OCSP response is over; handshakes go on without one", "name", name)
	}
	return wait
}

// say tells of what thousands of names may have in common.
func (s *stapler) say(level slog.Level, text string, more ...any) {
	if !s.lines.take() {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, text, more...)
}

// refresh asks, and has turn look again.
func (s *stapler) refresh(ctx context.Context, name string, st *staple) {
	answer, err := st.fetch(ctx, s.client)
	<-s.free
	if ctx.Err() == nil {
		if was, current := s.hot.settle(name, st, answer, err); current {
			s.tell(name, was, answer, err)
		}
	}
	s.hot.wake()
}

// settle has the answer to a question stapled, if it is good, and plans the next. It
// returns what st was before, and false if st's certificate was replaced meanwhile.
func (h *hot) settle(name string, st *staple, answer *ocsp.Response, err error) (was staple, current bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.staples[name] != st {
		return staple{}, false
	}
	was = *st
	st.asking = false
	if err != nil {
		st.ask = time.Now().Add(shake(min(retryFirst<<min(st.failures, 10), retryMost)))
		st.failures++
		return was, true
	}
	st.failures, st.revoked = 0, answer.Status == ocsp.Revoked
	end := endOf(answer)
	st.ask = time.Now().Add(max(retryFirst, shake(time.Until(end)/2)))
	if st.revoked {
		h.attach(name, st, nil, time.Time{})
	} else {
		h.attach(name, st, answer.Raw, end)
	}
	return was, true
}

// tell says what is new since st was so, and nothing at each try.
func (s *stapler) tell(name string, was staple, answer *ocsp.Response, err error) {
	switch {
	case err != nil && was.failures == 0:
		s.say(slog.LevelInfo, "could not get an OCSP response; trying again", "name", name, "responder", was.url, "err", err)
	case err != nil:
	case answer.Status == ocsp.Revoked && !was.revoked:
		s.log.Warn("the authority has revoked a certificate that is served; get another", "name", name,
			"serial", fmt.Sprintf("%x", was.leaf.SerialNumber), "since", answer.RevokedAt, "reason", answer.RevocationReason)
	case answer.Status == ocsp.Good && was.failures > 0:
		s.say(slog.LevelInfo, "got an OCSP response again", "name", name, "until", endOf(answer))
	}
}

// shake is d, a tenth more or less, so that instances do not go in step.
func shake(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)/5*float64(d))
}
