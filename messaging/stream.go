package messaging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	streamName   = "messages"
	storedPrefix = "in." // what the stream captures: in.m.<d>.c.<c>…
)

// ensureStream makes the stream or brings it to the configuration. Several
// nodes may do so at once: it is the same order from each.
func (b *Bus) ensureStream(ctx context.Context) error {
	want := jetstream.StreamConfig{
		Name:        streamName,
		Description: "what devices said; republished below m.",
		Subjects:    []string{storedPrefix + "m.>"},
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew, // doc.go says why
		MaxBytes:    b.config.Stream.MaxBytes,
		MaxAge:      b.config.Stream.MaxAge,
		Replicas:    b.config.Stream.Replicas,
		// No message carries a Nats-Msg-Id: a door knows its repeats (QoS 2)
		// itself. The shortest window keeps the server's table empty.
		Duplicates:  100 * time.Millisecond,
		RePublish:   &jetstream.RePublish{Source: storedPrefix + "m.>", Destination: "m.>"},
		AllowDirect: true,
	}
	if want.MaxBytes <= 0 {
		want.MaxBytes = -1
	}
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for {
		_, err := b.js.CreateOrUpdateStream(ctx, want)
		if err == nil {
			return nil
		}
		var api jetstream.JetStreamError
		if errors.As(err, &api) && api.APIError() != nil && api.APIError().Code < 500 {
			return fmt.Errorf("make stream %s: %w", streamName, err)
		}
		select { // JetStream is still waking up, or its leader is being elected
		case <-ctx.Done():
			return fmt.Errorf("make stream %s: %w: %w", streamName, ErrUnavailable, err)
		case <-retry.C:
		}
	}
}
