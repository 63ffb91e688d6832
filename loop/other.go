//go:build !linux

package loop

import (
	"errors"
	"net"
	"time"
)

// ErrWait and ErrStopped are never returned here.
var (
	ErrWait    = errors.New("nothing can be done now")
	ErrStopped = errors.New("the loop was stopped")
)

// A Loop cannot be had here: Start fails.
type Loop struct{}

// A Socket is of no use without a Loop.
type Socket struct{}

// Start fails with ErrUnsupported.
func Start() (*Loop, error) { return nil, ErrUnsupported }

// Without a Loop nothing below can be called.

func (l *Loop) Do(func())                                    {}
func (l *Loop) Len() int                                     { return 0 }
func (l *Loop) Scratch() []byte                              { return nil }
func (l *Loop) Stop()                                        {}
func (l *Loop) Add(*Socket, net.Conn, Handler, Events) error { return ErrUnsupported }
func (l *Loop) SetTimer(*Timer, time.Time)                   {}
func (l *Loop) StopTimer(*Timer)                             {}
func (s *Socket) Release() (net.Conn, error)                 { return nil, ErrUnsupported }
func (s *Socket) Watch(Events) error                         { return ErrUnsupported }
func (s *Socket) Watched() Events                            { return 0 }
func (s *Socket) Open() bool                                 { return false }
func (s *Socket) Read([]byte) (int, error)                   { return 0, ErrUnsupported }
func (s *Socket) Write([]byte) (int, error)                  { return 0, ErrUnsupported }
func (s *Socket) CloseWrite() error                          { return ErrUnsupported }
func (s *Socket) Close() error                               { return nil }
