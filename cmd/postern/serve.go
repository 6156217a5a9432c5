package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// serve runs the server until ctx ends or something fails. Doors open last and
// close first; whatever a device was told is stored is then already stored.
func serve(ctx context.Context, c *Config, log *slog.Logger, ready func(*house)) error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := lockData(c.DataDir)
	if err != nil {
		return err
	}
	defer lock.Close() // releases it; nothing was written
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP) // means reload; not caught, it would end the process
	defer signal.Stop(hangup)
	h, err := build(ctx, c, log)
	if err != nil {
		return err
	}
	doors, err := h.open(c)
	if err != nil {
		return errors.Join(err, h.close(context.WithoutCancel(ctx)))
	}
	group, running := errgroup.WithContext(ctx)
	for _, d := range doors {
		group.Go(func() error {
			log.Info("listening", "door", d.name, "address", d.listener.Addr().String())
			if err := d.serve(d.listener); err != nil && !errors.Is(err, http.ErrServerClosed) && running.Err() == nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			return nil
		})
	}
	group.Go(func() error { return h.housekeeping(running, c.AuditKeep) })
	group.Go(func() error { return h.recordUse(running) })
	group.Go(func() error { return h.watchHealth(running) })
	group.Go(func() error { return h.watchCertificate(running, hangup) })
	group.Go(func() error { return h.nodes.Run(running) })
	group.Go(func() error { return h.lists.Run(running) })
	if h.acme != nil {
		group.Go(func() error { return h.acme.Run(running) })
	}
	if h.mail != nil {
		group.Go(func() error { return h.mail.Run(running) })
	}
	h.announceSetUp(c)
	if ready != nil {
		ready(h)
	}

	<-running.Done()
	log.Info("stopping", "within", c.ShutdownTimeout)
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownTimeout)
	defer cancel()
	var errs []error
	for _, d := range doors {
		if err := d.shutdown(stopping); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", d.name, err))
		}
	}
	errs = append(errs, group.Wait(), h.close(stopping))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// A door is a listener and who serves it.
type door struct {
	name     string
	listener net.Listener
	serve    func(net.Listener) error
	shutdown func(context.Context) error
}

// httpServer bounds what a stranger may cost before a handler sees him. Bodies
// are bounded by the handlers, which know how large and how slow they may be.
func httpServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
