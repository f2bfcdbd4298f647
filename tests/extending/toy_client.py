"""A plugin with a client program."""

from aibridge_addon.providers import clients

clients.register(
    clients.ClientProgram(
        name="Toy Agent",
        user_agents=("toy-agent/",),
        session_headers=("x-toy-session",),
        commands=("toy",),
        programs="toy|toy-agent",
        base_urls={"TOY_URL": "{openai}"},
        ca_variables=("TOY_CA",),
        keys=("TOY_KEY",),
    )
)
