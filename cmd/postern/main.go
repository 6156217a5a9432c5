// Command postern is the authenticated door between IoT devices and NATS.
//
//	postern serve        runs the broker
//	postern quickstart   makes a domain, a channel and two devices and prints
//	                     commands to paste
//	postern --help       lists the rest
//
// The server reads its settings from flags and the environment, here and
// nowhere else (config.go). The other commands talk to a running server through
// its REST API.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailure     = 1 // anything not below
	exitUsage       = 2 // a command, flag or setting is wrong
	exitRefused     = 3 // the server refused: not signed in, or not allowed
	exitUnavailable = 4 // the server could not be reached or was not ready
)

// stdio is where a command reads and writes. Results go to out, everything else
// to err.
type stdio struct {
	in       io.Reader
	out, err io.Writer
	env      []string // NAME=value
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], stdio{os.Stdin, os.Stdout, os.Stderr, os.Environ()}))
}

// run executes one command and returns its exit code.
func run(ctx context.Context, args []string, io stdio) int {
	root := rootCommand(io)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(io.err, "postern:", err)
	var usage *usageError
	var answer *answerError
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &answer) && (answer.status == 401 || answer.status == 403):
		return exitRefused
	case errors.Is(err, errUnreachable), errors.As(err, &answer) && answer.status == 503:
		return exitUnavailable
	}
	return exitFailure
}

// A usageError is a mistake in how a command was called.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }
