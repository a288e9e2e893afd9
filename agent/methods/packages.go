package methods

import (
	"context"

	"github.com/deakit/deakit/agent/action"
	"github.com/deakit/deakit/agent/compile"
)

func (m *Machine) packageMethods() []action.Method {
	return []action.Method{
		{Name: "compile_package", Async: true, Do: m.compile},
		{Name: "compile_package_with_signed_url", Async: true, Do: m.compileSigned},
	}
}

func (m *Machine) compile(
	ctx context.Context, blobID, digest, name string, version compile.Version, deps compile.Dependencies,
) (compile.Result, error) {
	return alone(ctx, m, func() (compile.Result, error) {
		return m.compiler.Compile(ctx, blobID, digest, name, version, deps)
	})
}

func (m *Machine) compileSigned(ctx context.Context, r compile.SignedRequest) (compile.Result, error) {
	return alone(ctx, m, func() (compile.Result, error) { return m.compiler.CompileSigned(ctx, r) })
}
