package engineio

import (
	"context"
	"errors"
	"time"

	"sidecar/session"
)

// enter begins to give the backend what came by that socket, or by polling where it
// is nil. False: that is not the transport, and it would overtake.
func (e *engine) enter(on *socket) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.socket != on {
		return false
	}
	e.sending++
	return true
}

// exit is called behind what enter began.
func (e *engine) exit() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.sending--; e.sending == 0 && e.sent != nil {
		close(e.sent)
		e.sent = nil
	}
}

// settle waits until nothing is being given to the backend, which takes no longer
// than the backend does. The caller holds mu, which settle frees meanwhile.
func (e *engine) settle() {
	for e.sending > 0 {
		if e.sent == nil {
			e.sent = make(chan struct{})
		}
		sent := e.sent
		e.mu.Unlock()
		<-sent
		e.mu.Lock()
	}
}

// pass gives the backend messages, between enter and exit. What comes behind the
// backend's close is dropped.
func (e *engine) pass(ctx context.Context, messages ...session.Message) error {
	e.mu.Lock()
	e.beat.heard = true
	if e.socket == nil {
		e.linger.Sent(len(messages), time.Now())
	}
	e.mu.Unlock()
	_, err := e.session.Send(ctx, 0, messages...)
	if errors.Is(err, session.ErrClosing) {
		return nil
	}
	return err
}
