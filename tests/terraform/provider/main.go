// SPDX-License-Identifier: Apache-2.0

// A stand-in for the provider bpg/proxmox: it has the provider's schema (schema.json, as far as deploy/terraform uses it)
// and so lets OpenTofu check configurations and run tests with mocked resources, planned, made and planned again. It can't make anything: whoever asks for
// more than a check gets an error.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"log"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

//go:embed schema.json
var schemaFile []byte

var errStandIn = errors.New("this is a stand-in for bpg/proxmox that only knows its schema")

// A block of schema.json. Blocks hold at most one (single) or any number (list) of themselves.
type block struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]nested    `json:"blocks"`
}

type attribute struct {
	Type     string `json:"type"`
	Required bool   `json:"required"`
	Computed bool   `json:"computed"`
}

type nested struct {
	Nesting string `json:"nesting"`
	block
}

type schemas struct {
	Provider  block            `json:"provider"`
	Resources map[string]block `json:"resources"`
}

var types = map[string]tftypes.Type{
	"string":           tftypes.String,
	"number":           tftypes.Number,
	"bool":             tftypes.Bool,
	"list-string":      tftypes.List{ElementType: tftypes.String},
	"list-number":      tftypes.List{ElementType: tftypes.Number},
	"list-list-string": tftypes.List{ElementType: tftypes.List{ElementType: tftypes.String}},
	"map-string":       tftypes.Map{ElementType: tftypes.String},
}

func (b block) schema() *tfprotov5.SchemaBlock {
	made := &tfprotov5.SchemaBlock{}
	for name, a := range b.Attributes {
		kind, known := types[a.Type]
		if !known {
			log.Fatalf("schema.json: %s has the unknown type %q", name, a.Type)
		}
		made.Attributes = append(made.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: kind, Required: a.Required, Optional: !a.Required && !a.Computed, Computed: a.Computed,
		})
	}
	for name, n := range b.Blocks {
		one := &tfprotov5.SchemaNestedBlock{
			TypeName: name, Block: n.schema(), Nesting: tfprotov5.SchemaNestedBlockNestingModeList,
		}
		if n.Nesting == "single" {
			one.MaxItems = 1
		}
		made.BlockTypes = append(made.BlockTypes, one)
	}
	return made
}

// What a check does not ask for is left to the nil interface: such a call would end the program, and the check with it.
type server struct {
	tfprotov5.ProviderServer
	schemas schemas
}

func (s *server) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	answer := &tfprotov5.GetMetadataResponse{}
	for name := range s.schemas.Resources {
		answer.Resources = append(answer.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	return answer, nil
}

func (s *server) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	answer := &tfprotov5.GetProviderSchemaResponse{
		Provider:        &tfprotov5.Schema{Block: s.schemas.Provider.schema()},
		ResourceSchemas: map[string]*tfprotov5.Schema{},
	}
	for name, resource := range s.schemas.Resources {
		answer.ResourceSchemas[name] = &tfprotov5.Schema{Block: resource.schema()}
	}
	return answer, nil
}

func (s *server) PrepareProviderConfig(_ context.Context, r *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (s *server) ValidateResourceTypeConfig(context.Context, *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

// A state is of this very schema: nothing was ever renamed.
func (s *server) UpgradeResourceState(_ context.Context, r *tfprotov5.UpgradeResourceStateRequest) (*tfprotov5.UpgradeResourceStateResponse, error) {
	kind := s.schemas.Resources[r.TypeName].schema()
	shape := (&tfprotov5.Schema{Block: kind}).ValueType()
	value, err := r.RawState.Unmarshal(shape)
	if err != nil {
		return nil, err
	}
	state, err := tfprotov5.NewDynamicValue(shape, value)
	return &tfprotov5.UpgradeResourceStateResponse{UpgradedState: &state}, err
}

func (s *server) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

func (s *server) ConfigureProvider(context.Context, *tfprotov5.ConfigureProviderRequest) (*tfprotov5.ConfigureProviderResponse, error) {
	return nil, errStandIn
}

func (s *server) GetResourceIdentitySchemas(context.Context, *tfprotov5.GetResourceIdentitySchemasRequest) (*tfprotov5.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov5.GetResourceIdentitySchemasResponse{}, nil
}

func (s *server) GetFunctions(context.Context, *tfprotov5.GetFunctionsRequest) (*tfprotov5.GetFunctionsResponse, error) {
	return &tfprotov5.GetFunctionsResponse{}, nil
}

func main() {
	stand := &server{}
	if err := json.Unmarshal(schemaFile, &stand.schemas); err != nil {
		log.Fatalf("schema.json: %v", err)
	}
	err := tf5server.Serve("registry.opentofu.org/bpg/proxmox", func() tfprotov5.ProviderServer { return stand })
	if err != nil {
		log.Fatal(err)
	}
}
