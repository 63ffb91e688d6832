//go:build !linux

package proxy

import "syscall"

func limitUnsent(syscall.RawConn) {}
