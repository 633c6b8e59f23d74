complete -c onedrive-mount -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml, if it exists). Its name is also the name of the profile: each settings file has its own sign-in, cache and queue' -r -F
complete -c onedrive-mount -l state-dir -d 'Where the sign-in, the queue of uploads and the log are kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-mount -l cache-dir -d 'Where downloaded content is kept (default: in $XDG_CACHE_HOME)' -r -F
complete -c onedrive-mount -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-mount -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-mount -l log-level -d 'How verbose the log is: error, warn, info, debug or trace' -r
complete -c onedrive-mount -l demo-items -d 'Fill the demo with this many generated files instead' -r
complete -c onedrive-mount -l no-browser -d 'Sign in with a browser elsewhere: print the address, and take the one that the browser ends up at'
complete -c onedrive-mount -l device-code -d 'Sign in by typing a short code on another device'
complete -c onedrive-mount -l read-only -d 'Let nothing be changed through the mount'
complete -c onedrive-mount -l allow-other -d 'Let other users in, as far as umask, uid and gid in the settings allow'
complete -c onedrive-mount -l foreground -d 'Stay in the foreground, as systemd wants it'
complete -c onedrive-mount -l demo -d 'Mount a small OneDrive that runs inside the program: no account, nothing leaves this machine, all of it is gone after the unmount'
complete -c onedrive-mount -l print-config -d 'Print all settings with their explanation and their defaults, and exit'
complete -c onedrive-mount -l report-ready -d 'Set by the program itself when it starts itself in the background'
complete -c onedrive-mount -s h -l help -d 'Print help'
complete -c onedrive-mount -s V -l version -d 'Print version'
# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_onedrive_cli_global_optspecs
    string join \n c/config= state-dir= client-id= tenant= p/path i/id k/object-key= e/encoding= json q/quiet debug h/help V/version
end

function __fish_onedrive_cli_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_onedrive_cli_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_onedrive_cli_using_subcommand
    set -l cmd (__fish_onedrive_cli_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -s p -l path -d 'OBJECT and FOLDER are always paths, never ids (before the command)'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -s i -l id -d 'OBJECT and FOLDER are always ids, never paths (before the command)'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -s V -l version -d 'Print version'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "auth" -d 'Sign in to OneDrive, or sign in again'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "auth_refresh" -d 'Get a new access token now'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "auth-refresh" -d 'Get a new access token now'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "quota" -d 'Say how much space is free, and how much there is'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "user" -d 'Say who is signed in'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "recent" -d 'List what was used lately'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "shared" -d 'List what others share with this account'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "info" -d 'Say everything that is known of an object'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "stat" -d 'Say everything that is known of an object'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "info_set" -d 'Change an object\'s properties'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "info-set" -d 'Change an object\'s properties'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "ls" -d 'List a folder'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "tree" -d 'Show everything below a folder'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "search" -d 'Ask the index of the service, which knows contents too'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "find" -d 'Find objects below a folder'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "du" -d 'Say how much is in a folder'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "get" -d 'Fetch a file, or a folder with everything in it'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "put" -d 'Send a file, standard input, or a folder with everything in it'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "cat" -d 'Print files'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "mkdir" -d 'Make a folder'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "cp" -d 'Copy, without bringing anything here'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "mv" -d 'Move or rename'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "rm" -d 'Delete, into the recycle bin'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "link" -d 'Make an address that others can use'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "share" -d 'Let people in'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "unshare" -d 'Shut people out, or end a link'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "permissions" -d 'Say who may do what with an object'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "versions" -d 'List the versions of a file'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "restore" -d 'Bring a version of a file back'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "thumbnail" -d 'Fetch a small picture of a file'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "trash" -d 'List the recycle bin'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "undelete" -d 'Bring an object back from the recycle bin'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "comments" -d 'List the comments on an object'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "comment_add" -d 'Comment on an object'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "comment-add" -d 'Comment on an object'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "comment_delete" -d 'Delete a comment'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "comment-delete" -d 'Delete a comment'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "unmount" -d 'Take a mount down'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "status" -d 'Say what is mounted, whether everything is in the cloud, and what goes on'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "queue" -d 'List what is not in the cloud yet, and why'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "wait" -d 'Wait until a file, or everything below a folder, is in the cloud'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "why" -d 'Say in words how a file or folder stands, and what can be done about it'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "retry" -d 'Try again now what waits for its next attempt, or for you after an error'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "approve" -d 'Send the deletions and overwrites that are held because one program made so many of them'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "export" -d 'Copy the content of a draft out, without the cloud'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "discard" -d 'Take a change back that is not in the cloud yet, or throw a kept draft away'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "verify" -d 'Check the content on this machine against the service\'s hashes, without downloading anything'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "print-config" -d 'Print every setting with its explanation and its default'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "print_config" -d 'Print every setting with its explanation and its default'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "doctor" -d 'Look at everything that is needed, and say what to do'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "completions" -d 'Print the completions of both programs for a shell'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "man" -d 'Write the manual pages of both programs'
complete -c onedrive-cli -n "__fish_onedrive_cli_needs_command" -f -a "emulator" -d 'Run a OneDrive of our own on this machine, for trying things out and for testing other programs'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -l no-browser -d 'Sign in with a browser elsewhere: print the address, and take the one that the browser ends up at'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -l device-code -d 'Sign in by typing a short code on another device'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth_refresh" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand auth-refresh" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand quota" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand user" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand recent" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand shared" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand stat" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info_set" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand info-set" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -s r -l range -d 'Only a part of the list: OFFSET-LIMIT, OFFSET- (all after so many), -LIMIT or LIMIT (so many)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -s o -l objects -d 'Whole objects instead of names'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand ls" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -s o -l objects -d 'The type and the whole object of each instead of the type alone'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand tree" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -s o -l objects -d 'Whole objects instead of names'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand search" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -s n -l name -d 'Only names like this: * is any text, ? any character; upper and lower case are the same' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -s t -l type -d 'Only files or only folders' -r -f -a "file\t'Files'
folder\t'Folders'"
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -l larger -d 'Only files of at least this size, such as 10MiB' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -l smaller -d 'Only files of at most this size' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand find" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -s s -l summarize -d 'Only the sum'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand du" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -s b -l byte-range -d 'Only these bytes: FIRST-LAST, FIRST- or -COUNT, as in the Range header of HTTP' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -s j -l jobs -d 'How many files at once (setting: upload.concurrency)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -s r -l recursive -d 'A folder with everything in it; files that are here already, of the same size and time, are not fetched again'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand get" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l name -d 'Under this name instead of its own' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l bits-frag-bytes -d 'Bytes in a fragment (setting: upload.fragment_size); 0 and less count as not given' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s j -l jobs -d 'How many files at once (setting: upload.concurrency)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s n -l no-overwrite -d 'Fail if something of that name is there already, instead of replacing it'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s d -l no-downsize -d 'Do not shrink pictures. Accepted for old scripts: they are never shrunk'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s b -l bits -d 'In fragments, however small it is. Large files go in fragments anyway'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l bits-do-auth-refresh-before-commit-hack -d 'Renew the sign-in before a large file is made visible (the old service only)'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s r -l recursive -d 'A folder with everything in it; files that are there already, of the same size and time, are not sent again'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand put" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cat" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -s m -l metadata -d 'Properties of the new folder as a JSON object, such as \'{"description": "..."}\'' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -s p -l parents -d 'Also make the folders on the way to it that are missing; one that exists already is fine'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mkdir" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -s n -l name -d 'A name for the copy' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -s r -l recursive -d 'Folders too, with everything in them'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand cp" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -s n -l name -d 'A new name for it; alone, it stays in its folder' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand mv" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -s r -l recursive -d 'Accepted for habit\'s sake: folders go with everything in them in any case'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand rm" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -s t -l type -d 'What the link is for' -r -f -a "shared_read_link\t'Whoever has it can look'
shared_edit_link\t'Whoever has it can change the object'
embed\t'For showing it inside a web page (personal accounts only)'"
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand link" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -s m -l message -d 'Send them a mail with this text' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -s w -l write -d 'They may also change it'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand share" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -l all -d 'Everybody but the owner, links too'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unshare" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand permissions" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand versions" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand restore" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -s s -l size -d 'How large' -r -f -a "small\t'About 96 pixels'
medium\t'About 176 pixels'
large\t'About 800 pixels'"
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand thumbnail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand trash" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand undelete" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comments" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_add" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-add" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment_delete" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand comment-delete" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -l lazy -d 'Take it out of the tree at once, even if programs use it; they keep what they have open until they close it'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand unmount" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand status" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -l limit -d 'How many to list for each mount; 0 lists all (default: 100, with --json all)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand queue" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -l timeout -d 'Give up after this long, such as 30s or 5m' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand wait" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand why" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand retry" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand approve" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -l at -d 'The mount, if there are several and the draft is a number' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -l partial -d 'Also if parts of it are not on this machine; they become zeros'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand export" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -l at -d 'The mount, if there are several and the draft is a number' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -l held -d 'All deletions and overwrites that are held, at the path or below it'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -s y -l yes -d 'Do not ask'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -l dry-run -d 'Only say what would be done'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand discard" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand verify" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -l effective -d 'Print the values in force and where each comes from, instead of the defaults and their explanation. With --json, both are one object that has {"value": ..., "origin": ...} for each setting'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print-config" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -l effective -d 'Print the values in force and where each comes from, instead of the defaults and their explanation. With --json, both are one object that has {"value": ..., "origin": ...} for each setting'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand print_config" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand completions" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand man" -s h -l help -d 'Print help'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l listen -d 'Where Graph and sign-in listen; port 0 takes a free one' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l storage-listen -d 'Where pre-authenticated downloads and uploads lead' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l flavour -d 'The kind of account' -r -f -a "personal\t'A personal account'
personal-old\t'A personal account on the legacy backend'
business\t'OneDrive for work or school'
library\t'A SharePoint document library'"
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l protocol -d 'Which protocol the printed settings lead to; a personal account speaks both' -r -f -a "graph\t'Microsoft Graph v1.0'
live\t'Live Connect v5.0 and BITS, of personal accounts only'"
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l items -d 'Fill the drive with this many generated files, instead of a small home' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l log-level -d 'How verbose to be: error, warn, info, debug or trace' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -s c -l config -d 'The settings file (default: $XDG_CONFIG_HOME/onedrive-mount/config.yaml). Each settings file has its own sign-in' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l state-dir -d 'Where the sign-in is kept (default: in $XDG_STATE_HOME)' -r -F
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l client-id -d 'The registered application to sign in to (setting: client.id)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l tenant -d 'Who may sign in: common, consumers, organizations, or an organisation (setting: tenant)' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -s k -l object-key -d 'Print only this key of each object, or a template such as \'{0[id]} {0[name]}\'; objects without it are left out' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -s e -l encoding -d 'The encoding of names on the command line and in the output; detect guesses the one of the command line' -r
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l json -d 'Print results as JSON, one value a line'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -s q -l quiet -d 'Say nothing but results and errors: no progress, no remarks'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -l debug -d 'Say on standard error what goes on, and print results that are usually not printed'
complete -c onedrive-cli -n "__fish_onedrive_cli_using_subcommand emulator" -s h -l help -d 'Print help (see more with \'--help\')'
