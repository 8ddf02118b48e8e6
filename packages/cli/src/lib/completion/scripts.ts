/**
 * The shells' side: each script hands the words over to `thinpool completion candidates` and offers
 * what it prints, a line each. A failure prints nothing and offers nothing.
 */

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `_thinpool() {
  local IFS=$'\\n'
  COMPREPLY=($(thinpool completion candidates -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _thinpool thinpool
`,
  zsh: `#compdef thinpool
_thinpool() {
  local -a found
  found=("\${(@f)$(thinpool completion candidates -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  found=(\${found:#})
  (( \${#found} )) && compadd -a found || _files
}
compdef _thinpool thinpool
`,
  fish: `function __thinpool_complete
  set -l words (commandline -opc) (commandline -ct)
  thinpool completion candidates -- $words[2..-1] 2>/dev/null
end
complete -c thinpool -f -a '(__thinpool_complete)'
`,
};

export function completionScript(shell: Shell): string {
  return SCRIPTS[shell];
}
