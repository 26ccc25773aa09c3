"""What people read. Every function returns whole lines without the last newline, or an empty string.

Lines fit the terminal (`Style.columns`, colour aside), and no line needs colour to be understood. Text from a file or
the server is always escaped. The prefixes `Plan: `, `No changes. `, `Apply complete! `, `Apply incomplete. `,
`Error: ` and `Warning: ` never change.
"""
