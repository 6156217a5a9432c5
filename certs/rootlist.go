package certs

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"slices"
	"time"
)

// rootListLife is how long a root's list is good: a root signs seldom, and its
// key may be in a safe.
const rootListLife = 365 * 24 * time.Hour

// RootList signs the CRL of a root that revoked none of its issuing authorities,
// in DER. Whoever checks all of a chain (curl --crlfile, nginx ssl_crl) needs it.
// It is good for a year. Its number is the time in seconds, so that a later one
// is greater with nobody counting.
func RootList(root *x509.Certificate, key crypto.Signer, now time.Time) ([]byte, error) {
	now = now.UTC().Truncate(time.Second)
	list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(now.Unix()), ThisUpdate: now.Add(-backdate), NextUpdate: now.Add(rootListLife),
	}, root, key)
	if err != nil {
		return nil, fmt.Errorf("sign the root's revocation list: %w", err)
	}
	return list, nil
}

// RootLists returns the CRL of each root in DER, of the newest root first.
func (a *Authority) RootLists() [][]byte {
	var lists [][]byte
	for _, i := range newestLists(a.Issuers()) {
		lists = append(lists, i.rootList.Raw)
	}
	return lists
}

// RootListsEnd returns when the first of them ends. Each is signed anew by a
// start that finds the root's key and half of its life gone.
func (a *Authority) RootListsEnd() time.Time {
	all := newestLists(a.Issuers())
	ends := all[0].rootList.NextUpdate
	for _, i := range all[1:] {
		if i.rootList.NextUpdate.Before(ends) {
			ends = i.rootList.NextUpdate
		}
	}
	return ends
}

// newestLists returns, for each root, the issuer that has its newest list.
func newestLists(issuers []*Issuer) []*Issuer {
	var newest []*Issuer
	for _, i := range issuers {
		n := slices.IndexFunc(newest, func(other *Issuer) bool { return other.Root.Equal(i.Root) })
		switch {
		case n < 0:
			newest = append(newest, i)
		case i.rootList.NextUpdate.After(newest[n].rootList.NextUpdate):
			newest[n] = i
		}
	}
	return newest
}

// renewRootLists signs the lists anew that are past half of their life, if the
// root's key is here.
func (a *Authority) renewRootLists(ctx context.Context) error {
	due := slices.DeleteFunc(newestLists(a.Issuers()), func(i *Issuer) bool {
		return a.config.Now().Before(i.rootList.NextUpdate.Add(-rootListLife / 2))
	})
	if len(due) == 0 {
		return nil
	}
	root, key, err := readRoot(a.path("ca.crt"), a.path("ca.key"), a.config.Passphrase)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, i := range due {
		if !i.Root.Equal(root) {
			continue
		}
		list, err := RootList(root, key, a.config.Now())
		if err != nil {
			return err
		}
		if err := a.config.Keeper.RenewRootList(ctx, i.ID, list); err != nil {
			return err
		}
	}
	return a.Reload(ctx)
}
