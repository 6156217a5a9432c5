package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/registry"
)

// fleet answers for any number of devices without keeping them: device i has
// the id and the secret that i makes.
type fleet struct{ hasher *registry.SecretHasher }

func deviceID(i int) registry.DeviceID {
	return registry.DeviceID(fmt.Sprintf("%08x-0000-4000-8000-000000000000", i))
}

func secretOf(i int) registry.Secret {
	return registry.SecretOf(fmt.Sprintf("a-secret-of-the-device-number-%013d", i))
}

func number(id registry.DeviceID) (i int) {
	if _, err := fmt.Sscanf(string(id[:8]), "%08x", &i); err != nil {
		return -1
	}
	return i
}

func (f fleet) DevicesBySecret(context.Context, registry.SecretHash) ([]registry.DeviceSecret, error) {
	return nil, nil // everybody here shows an id as well
}

func (f fleet) Device(_ context.Context, id registry.DeviceID) (registry.Device, error) {
	return registry.Device{ID: id, Domain: "d", Status: registry.Enabled}, nil
}

func (f fleet) DeviceSecrets(_ context.Context, id registry.DeviceID) ([]registry.DeviceSecret, error) {
	i := number(id)
	return []registry.DeviceSecret{{ID: registry.SecretID(binary.BigEndian.AppendUint32(nil, uint32(i))), Device: id, Hash: f.hasher.Hash(secretOf(i))}}, nil
}

// BenchmarkFleet takes the decision about one device after another of fleets
// of a thousand and of a million, all in memory: its cost must stay flat.
func BenchmarkFleet(b *testing.B) {
	hasher, err := registry.NewSecretHasher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			d := authn.NewDevices(authn.Config{Find: fleet{hasher}, Hasher: hasher, CacheSize: 2 * size})
			shown := make([]authn.Credential, size)
			for i := range shown {
				shown[i] = authn.Credential{DeviceID: string(deviceID(i)), Secret: secretOf(i), Via: "mqtt", Remote: netip.MustParseAddr("192.0.2.1")}
				if _, err := d.Authenticate(b.Context(), &shown[i]); err != nil {
					b.Fatal(err)
				}
			}
			d.TakeUsed()
			const decisions = 500_000 // enough at -benchtime 1x
			b.ResetTimer()
			for range b.N {
				for i := range decisions {
					if _, err := d.Authenticate(b.Context(), &shown[i*7919%size]); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/decisions, "ns/decision")
			b.ReportMetric(0, "ns/op")
		})
	}
}
