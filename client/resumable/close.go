package resumable

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"sidecar/protocol/resume/wire"
)

// lastWords bounds how long carriers live on behind the end, to say what is left to be
// said: the ACK of the server's CLOSE, or a CLOSE of ours that nobody waits for.
const lastWords = time.Second

// CloseWrite ends our direction behind all that was written, and returns at once: Write
// fails from now on, Read goes on until the backend's last message and then returns
// the *CloseError. Code 1005 gives none; others are 1000, 1001, 1002, 1007 to 1011
// and 3000 to 4999. The reason has at most 123 bytes of UTF-8, and none with 1005.
// Only the first close counts.
func (c *Conn) CloseWrite(code int, reason string) error {
	if err := checkClose(code, reason); err != nil {
		return err
	}
	if c.plain != nil {
		return c.plain.closeWrite(code, reason)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.out.finish(code, reason)
	c.used.nudge()
	signal(c.room)
	return nil
}

// Close is CloseWrite, and then waits until the backend has answered, throwing away
// messages that still come and that no Read waits for; who wants them calls CloseWrite
// and reads. It returns nil when the server's CLOSE came, which Read then tells. After
// CloseTimeout it gives up, and the backend may not have got all. In any case all
// goroutines have ended when it returns. It may be called again, and after the end.
func (c *Conn) Close(code int, reason string) error {
	if err := checkClose(code, reason); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.o.CloseTimeout)
	defer cancel()
	c.CloseWrite(code, reason) // an error is the end, which Read tells
	var err error
	for err == nil {
		_, _, err = c.Read(ctx)
	}
	if ctx.Err() == nil {
		c.wait()
		return closedWell(err)
	}
	c.CloseNow()
	return fmt.Errorf("closing: %w", errNoAnswer)
}

func checkClose(code int, reason string) error {
	listed := code >= 1000 && code <= 1011 && code != 1003 && code != 1004 && code != 1006
	switch {
	case !listed && (code < 3000 || code > 4999):
		return fmt.Errorf("closing: code %d is not allowed", code)
	case len(reason) > wire.MaxReason || !utf8.ValidString(reason) || code == 1005 && reason != "":
		return fmt.Errorf("closing: reason %q is not allowed with %d", reason, code)
	}
	return nil
}

// closedWell is what Close makes of the end.
func closedWell(err error) error {
	if end := (*CloseError)(nil); errors.As(err, &end) || err == ErrClosed {
		return nil
	}
	return err
}

// CloseNow ends the connection at once: Read and Write return ErrClosed. The server gets
// CLOSE 1001 behind what was written, if a carrier takes it within a second; else it
// holds the session until its time is up. All goroutines have ended when it returns.
func (c *Conn) CloseNow() error {
	if c.plain != nil {
		return c.plain.closeNow()
	}
	c.mu.Lock()
	c.endLocked(ErrClosed, 1001)
	c.mu.Unlock()
	c.wait()
	return nil
}

// wait returns when all goroutines have ended.
func (c *Conn) wait() {
	if c.plain != nil {
		c.plain.closeNow()
		return
	}
	<-c.over
}

// endLocked ends the conversation, the first time. With a code, the server is told.
func (c *Conn) endLocked(err error, code int) {
	if c.err != nil {
		return
	}
	c.err = err
	if err == ErrClosed {
		c.in.queue = nil
	}
	if code != 0 {
		c.out.finish(code, "")
	}
	if code != 0 || c.in.closed != nil {
		c.keep.lastWords = time.Now().Add(lastWords)
	}
	c.ackTimer.Stop()
	close(c.ended)
	for _, k := range c.carriers {
		k.nudge()
	}
	signal(c.kick)
}

// saidLocked: nothing is left to be said by this carrier, which is idle. Behind the end
// all carriers go then.
func (c *Conn) saidLocked(k *carrier) {
	if c.err == nil || k != c.used {
		return
	}
	c.keep.lastWords = time.Time{}
	signal(c.kick)
}
