package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/postern-io/postern/authn"
	"github.com/postern-io/postern/authz"
	"github.com/postern-io/postern/registry"
)

// issue signs somebody in, with the second factor in the same request when
// there is one.
func (s *Server) issue(ctx context.Context, in SignIn, from authn.Client) (authn.Tokens, error) {
	if in.Otp == "" {
		return s.Users.Issue(ctx, in.Username, in.Password, from)
	}
	return s.Users.IssueWith(ctx, in.Username, in.Password, typedProof(in.Otp), from)
}

// typedProof takes six digits for a code, anything else for a recovery code.
func typedProof(otp string) authn.Proof {
	text := strings.ReplaceAll(otp, " ", "")
	if len(text) == 6 && strings.Trim(text, "0123456789") == "" {
		return authn.Proof{Code: text}
	}
	return authn.Proof{RecoveryCode: otp}
}

// showFactor ends a sign-in that waits for its second factor.
func (s *Server) showFactor(ctx context.Context, c *call) (answer, error) {
	var in SecondFactor
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	proof := authn.Proof{Code: in.Code, RecoveryCode: in.RecoveryCode}
	if in.Passkey != nil {
		var err error
		if proof.Passkey, err = json.Marshal(in.Passkey); err != nil {
			return answer{}, err
		}
	}
	t, err := s.Users.SecondFactor(ctx, in.Ticket, proof, c.where())
	if err != nil {
		return answer{}, factorProblem(err)
	}
	return created(tokensOf(t), "")
}

// challengePasskey tells a browser what its authenticator is to sign.
func (s *Server) challengePasskey(ctx context.Context, c *call) (answer, error) {
	var in Ticket
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	options, err := s.Users.PasskeyChallenge(ctx, in.Ticket)
	if err != nil {
		return answer{}, factorProblem(err)
	}
	return created(options, "")
}

// factorProblem tells apart what is wrong with a second factor. Who hears it
// knows the password.
func factorProblem(err error) error {
	var refused *authn.RefusedError
	switch {
	case errors.As(err, new(*authn.SecondFactorError)):
		return errors.Join(errFactorWanted, err)
	case errors.As(err, &refused) && refused.Reason == registry.ReasonSecondFactorWrong:
		return errors.Join(errFactorWrong, err)
	case errors.As(err, &refused) && refused.Reason == registry.ReasonKeyInvalid:
		return errors.Join(errTicket, err)
	}
	return err
}

func methodsOf(e *authn.SecondFactorError) (methods []ErrorMethods) {
	for _, m := range e.Methods {
		methods = append(methods, ErrorMethods(m))
	}
	return methods
}

func (s *Server) listFactors(ctx context.Context, c *call) (answer, error) {
	e, err := s.Factors.Enrolled(ctx, c.by())
	if err != nil {
		return answer{}, err
	}
	return ok(Factors{Totp: e.TOTP, Passkeys: each(e.Passkeys, passkeyOf), RecoveryCodes: e.RecoveryCodes})
}

func passkeyOf(p registry.Passkey) Passkey {
	return Passkey{ID: p.ID, Name: p.Name, CreatedAt: p.CreatedAt, LastUsed: unlessZero(p.LastUsed)}
}

func (s *Server) beginTOTP(ctx context.Context, c *call) (answer, error) {
	t, err := s.Factors.BeginTOTP(ctx, c.person.User)
	if err != nil {
		return answer{}, err
	}
	return created(NewTOTP{Secret: t.Secret, URL: t.URL}, "")
}

func (s *Server) confirmTOTP(ctx context.Context, c *call) (answer, error) {
	var in Code
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	codes, err := s.Factors.ConfirmTOTP(ctx, c.by(), in.Code)
	if err != nil {
		return answer{}, err
	}
	return s.enrolled(ctx, c, "totp", codes, "")
}

func (s *Server) deleteTOTP(ctx context.Context, c *call) (answer, error) {
	if err := s.Factors.DeleteTOTP(ctx, c.by()); err != nil {
		return answer{}, err
	}
	return done(s.factorChanged(ctx, c, authn.FactorRemoved, "totp"))
}

func (s *Server) renewRecoveryCodes(ctx context.Context, c *call) (answer, error) {
	codes, err := s.Factors.NewRecoveryCodes(ctx, c.by())
	if err != nil {
		return answer{}, err
	}
	if err := s.factorChanged(ctx, c, authn.FactorRenewed, "recovery"); err != nil {
		return answer{}, err
	}
	return created(RecoveryCodes{RecoveryCodes: codes}, "")
}

func (s *Server) beginPasskey(ctx context.Context, c *call) (answer, error) {
	options, err := s.Factors.BeginPasskey(ctx, c.person.User)
	if err != nil {
		return answer{}, err
	}
	return created(options, "")
}

func (s *Server) confirmPasskey(ctx context.Context, c *call) (answer, error) {
	var in NewPasskey
	if err := c.body(&in); err != nil {
		return answer{}, err
	}
	text, err := json.Marshal(in.Passkey)
	if err != nil {
		return answer{}, err
	}
	p, codes, err := s.Factors.ConfirmPasskey(ctx, c.person.User, in.Name, text)
	if err != nil {
		return answer{}, err
	}
	return s.enrolled(ctx, c, "passkey", codes, p.ID)
}

func (s *Server) deletePasskey(ctx context.Context, c *call) (answer, error) {
	if err := s.Factors.DeletePasskey(ctx, c.by(), c.request.PathValue("passkey")); err != nil {
		return answer{}, err
	}
	return done(s.factorChanged(ctx, c, authn.FactorRemoved, "passkey"))
}

// resetFactors helps somebody who has lost the second factor and the recovery
// codes: all that is left is the password, until the next sign-in enrols anew.
func (s *Server) resetFactors(ctx context.Context, c *call) (answer, error) {
	u, err := s.Registry.User(ctx, c.user)
	if err != nil {
		return answer{}, err
	}
	if err := authz.Manage(c.role, u.Role); err != nil {
		return answer{}, err
	}
	if err := s.Factors.Drop(ctx, u.ID); err != nil {
		return answer{}, err
	}
	return done(s.Users.FactorChanged(ctx, authn.FactorsReset, "all", c.person, u.ID, c.where()))
}

// enrolled answers a new factor. Whoever was let in to enrol alone stays outside
// of the rest until the next sign-in.
func (s *Server) enrolled(ctx context.Context, c *call, which string, codes []string, passkey string) (answer, error) {
	if err := s.factorChanged(ctx, c, authn.FactorEnrolled, which); err != nil {
		return answer{}, err
	}
	return created(Enrolled{RecoveryCodes: codes, PasskeyID: passkey, SignInAgain: c.person.Only == registry.ReasonSecondFactorEnrol}, "")
}

func (s *Server) factorChanged(ctx context.Context, c *call, action, which string) error {
	return s.Users.FactorChanged(ctx, action, which, c.person, c.by(), c.where())
}
